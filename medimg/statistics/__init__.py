"""How sure the numbers are: intervals, paired tests, calibration, operating points."""
