"""Suite -> Plan: every case that will be measured, every one that cannot be, and what it may cost."""
