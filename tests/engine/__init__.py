"""The product with a real vLLM: small models on a CPU, a few loads for all tests together."""
