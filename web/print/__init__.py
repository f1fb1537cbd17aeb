"""Paper: entries as PDF in the manner of GB/T 9704-2012, set by typst from data, never from pasted markup."""
