"""What random checks of accepted answers prove about the agreement with the expert."""
