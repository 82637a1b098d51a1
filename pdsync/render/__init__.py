"""From plans, results and diagnostics to what people read.  Pure: text in, text out."""
