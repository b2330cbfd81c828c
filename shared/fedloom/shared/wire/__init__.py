"""What crosses between server and site: typed, versioned, checked before it is believed."""
