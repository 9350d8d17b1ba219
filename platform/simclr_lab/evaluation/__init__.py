"""Named protocols that judge a finished encoder."""
