"""The record of what was deployed when and why: its entries, its chain, its news. Pure."""
