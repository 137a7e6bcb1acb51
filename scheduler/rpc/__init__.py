"""What the outside may call: servicers that convert, call and answer."""
