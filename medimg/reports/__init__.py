"""Pictures, tables and pages made from reports."""
