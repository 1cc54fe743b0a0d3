"""The arena: cells played by every allocator, kept unit by unit, told in tables and pages."""
