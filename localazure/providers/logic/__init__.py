"""Logic Apps (consumption), as far as a timetable for a batch endpoint needs them."""
