"""List, check and tidy the cache folder; none of this imports torch, except to check hashed tensors."""
