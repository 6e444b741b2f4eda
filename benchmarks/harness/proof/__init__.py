"""The proof: the product beside what one would use instead, measured in turn on one machine."""
