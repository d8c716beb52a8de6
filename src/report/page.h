/* The report's page as bytes, made by bundle.py at build time: what stands before the data and what after. */
#pragma once

#include <stddef.h>

extern const unsigned char report_page_head[], report_page_tail[];
extern const size_t report_page_head_length, report_page_tail_length;
