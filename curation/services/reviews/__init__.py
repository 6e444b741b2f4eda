"""Reviews: sets, handing out, judging, and what comes of it."""
