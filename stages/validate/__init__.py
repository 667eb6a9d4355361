"""The validate stage: check that the prepared data matches its schema."""
