"""Working for one model on one endpoint: a full window of requests, committed in groups."""
