"""What tables and figures share: records, statistics, the paper's numbers, files, style."""
