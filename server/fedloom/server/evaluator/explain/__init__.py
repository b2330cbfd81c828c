"""Why a classifier says what it says of a text, and whether the answer holds."""
