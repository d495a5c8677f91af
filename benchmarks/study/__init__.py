"""Put the figures of the paper beside ours, on two small models."""
