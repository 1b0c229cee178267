"""The built-in layouts: one file a layout, whose class `Reader` reads it."""
