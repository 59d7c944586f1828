"""What runs around a sync: when it begins, how it is watched, who is told."""
