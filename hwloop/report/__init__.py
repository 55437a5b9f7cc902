"""Reports: `result` makes the numbers, `tables` and `plots` show them, `progress` shows how far the work is."""
