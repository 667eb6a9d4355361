"""The prepare stage: from archives of pictures to sharded TFRecords."""
