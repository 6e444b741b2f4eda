"""A Django database backend that starts the embedded PostgreSQL when it is needed."""
