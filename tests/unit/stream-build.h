/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams put together by hand, right or wrong: each call appends to the array. */
#pragma once

#include <vmckpt/qmp/stream-reader.h>
#include <vmckpt/util/bytes.h>

/* The RAM section's number in these streams. */
#define BUILD_RAM_ID 2

/* The magic, the version and a configuration without subsections, for machine "m". */
void build_header (GByteArray *stream);
void build_subsection (GByteArray *stream, const char *name);
void build_name (GByteArray *stream, const char *name);

/* The beginning of a START or FULL section. */
void build_section (GByteArray *stream, guint8 type, guint32 id, const char *name, guint32 version);
void build_footer (GByteArray *stream, guint32 id);

/* A START section that declares "a" of 4 pages and "b" of 2. */
void build_ram_start (GByteArray *stream);

/* The beginning of a PART or END section of RAM, and the end of any. */
void build_ram_part (GByteArray *stream, guint8 type);
void build_ram_end (GByteArray *stream);

/* A page's word and what follows; @block NULL: of the same block as before; @fill: every byte. */
void build_page (GByteArray *stream, const char *block, guint64 offset, guint8 fill);

/* Two devices, the end mark, and a description. */
void build_devices (GByteArray *stream);
void build_description (GByteArray *stream, guint32 announced, const char *text);

/* All of it, with one page of each block. */
GByteArray *build_stream (void);

/* The same with every page of both, some of zeros. */
GByteArray *build_full_stream (void);
