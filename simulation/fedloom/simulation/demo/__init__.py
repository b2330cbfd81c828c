"""The demonstration on real records: four institutions, one encoder."""
