"""Generated from the .proto files by `make proto`. Do not edit."""
