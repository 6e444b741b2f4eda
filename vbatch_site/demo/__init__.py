"""`make demo`: all of vbatch on one machine, with a real model answering a real batch."""
