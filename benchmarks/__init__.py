"""One file per claim about what the platform costs; each prints ratios and shares."""
