"""Reports as one self-contained HTML page that asks nothing of any network."""
