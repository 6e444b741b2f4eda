"""The front-end kit: fetched by developers, committed, served by us."""
