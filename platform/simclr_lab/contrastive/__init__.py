"""The science: SimCLR in plain torch, with plain arguments and no settings objects."""
