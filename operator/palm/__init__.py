"""The paper's core and the contract between the images; pure: numpy, SciPy and pydantic."""
