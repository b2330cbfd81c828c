"""What `fedloom doctor` looks at on either side, and how it says what to do."""
