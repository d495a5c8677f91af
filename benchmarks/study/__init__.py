"""Put the figures of the paper beside ours, on small models."""
