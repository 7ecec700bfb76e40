"""Pictures of portfolios and grids, for papers and reports: matplotlib without a display."""
