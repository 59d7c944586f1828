"""What people ask of the tables: prices and reports; reads views, fetches nothing."""
