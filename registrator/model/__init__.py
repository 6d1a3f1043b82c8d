"""The records HECD keeps: frozen values, no behaviour beyond what they say of themselves."""
