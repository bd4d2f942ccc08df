"""Pages of the manual, what draws their pictures, and what makes a site of them."""
