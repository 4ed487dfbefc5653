"""What clawproto costs, always against a plain baseline that is measured in the same run on the same bytes."""
