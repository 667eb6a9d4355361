"""The report room: one page from what the other stages wrote."""
