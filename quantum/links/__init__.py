"""How elementary links make pairs: models of sources, fibres and detectors."""
