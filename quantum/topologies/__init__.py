"""Where networks come from: shapes, files and the shipped data; the door is quantum.topology."""
