"""Several hosts on one database, each a data folder and a worker of its own."""
