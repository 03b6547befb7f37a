/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   04 id name … payload … 7e id │ 04 id name … payload … 7e id │ 00 │ 06 be32 n │ {JSON of n
 * bytes} └──────── section ─────────┘                                 EOF   description
 *
 * Payloads have no length and may hold any bytes. Two things are looked for, each at a byte 7e:
 *
 *  - The description: 7e, any id, 00 06, a length, '{'. QEMU ends every stream with one, unless the
 *    machine option suppress-vmdesc is on (all machine types since pc-2.3 leave it off). JSON holds
 * no NUL byte, so the true one is the latest that fits the pattern, and a stream that is cut
 * anywhere before its last byte does not end where the description says.
 *  - The end mark: 7e and the id of the section that is open, then 00. Which section is open is
 * followed from header to header (7e, the open id, 04, the next id, a name). A stream that ends
 * with it is taken for whole: all device state is there, and QEMU loads it.
 *
 * What cannot be known: a payload may imitate these patterns, by chance (at least 5 fixed bytes
 * beside the lengths: no matter in practice) or because a guest put them into a device's buffer on
 * purpose. Such a guest can at most make a cut stream of its own look whole, when the cut falls
 * where it wants it, or have its own stream refused for "RAM after device state". A whole stream
 * that has a description is recognised whatever its payloads hold.
 */
#include "stream-tail.h"

#include "stream-config.h"
#include "stream-format.h"

#include <string.h>

#define MAX_DESCRIPTION (256 * 1024 * 1024)

static guint32
be32_at (const guint8 *data)
{
  return (guint32)data[0] << 24 | (guint32)data[1] << 16 | (guint32)data[2] << 8 | data[3];
}

void
stream_tail_init (StreamTail *tail, guint32 ram_id, guint32 section_id, const char *name)
{
  *tail = (StreamTail){ .ram_id = ram_id, .section_id = section_id };
  g_strlcpy (tail->section, name, sizeof tail->section);
}

/* @data stands behind a footer of the open section: does another section begin here? */
static void
follow_section (StreamTail *tail, const guint8 *data, gsize len)
{
  if (len < 6 || len < (gsize)6 + data[5] || !stream_name_good (data + 6, data[5]))
    return;
  tail->section_id = be32_at (data + 1);
  memcpy (tail->section, data + 6, data[5]);
  tail->section[data[5]] = '\0';
}

/* Looks at a byte 7e with @len bytes from it on. */
static gboolean
look_at_footer (StreamTail *tail, guint64 position, const guint8 *data, gsize len, GError **error)
{
  if (len < 6)
    return TRUE;
  if (len >= 12 && data[5] == STREAM_EOF && data[6] == STREAM_DESCRIPTION && data[11] == '{' &&
      be32_at (data + 7) <= MAX_DESCRIPTION)
    tail->described_end = position + 11 + be32_at (data + 7);
  if (be32_at (data + 1) != tail->section_id)
    return TRUE;
  if (data[5] == STREAM_EOF)
    tail->eof_end = position + 6;
  else if (data[5] == STREAM_SECTION_FULL)
    follow_section (tail, data + 5, len - 5);
  else if (data[5] >= STREAM_SECTION_START && data[5] <= STREAM_SECTION_END && len >= 10 &&
           be32_at (data + 6) == tail->ram_id) {
    g_set_error (error, STREAM_ERROR, STREAM_ERROR_UNSUPPORTED,
                 "RAM goes on after the device state of '%s'", tail->section);
    return FALSE;
  }
  return TRUE;
}

gssize
stream_tail_scan (StreamTail *tail, const guint8 *data, gsize len, gboolean ended, GError **error)
{
  gsize end = ended ? len : len - MIN (len, STREAM_TAIL_LOOKAHEAD);

  if (tail->passed + end > STREAM_MAX_DEVICE_STATE) {
    g_set_error (error, STREAM_ERROR, STREAM_ERROR_GARBLED,
                 "the device state is longer than %" G_GUINT64_FORMAT " bytes",
                 STREAM_MAX_DEVICE_STATE);
    return -1;
  }
  for (gsize i = 0; i < end; i++) {
    const guint8 *found = memchr (data + i, STREAM_FOOTER, end - i);
    if (found == NULL)
      break;
    i = found - data;
    if (!look_at_footer (tail, tail->passed + i, found, len - i, error))
      return -1;
  }
  if (end > 0)
    tail->last = data[end - 1];
  tail->passed += end;
  return (gssize)end;
}

gboolean
stream_tail_finish (StreamTail *tail, GError **error)
{
  if (tail->passed == tail->eof_end && tail->eof_end > 0)
    return TRUE;
  if (tail->described_end > 0 && tail->passed == tail->described_end && tail->last == '}')
    return TRUE;
  if (tail->described_end > 0 && tail->passed >= tail->described_end)
    g_set_error (error, STREAM_ERROR, STREAM_ERROR_GARBLED,
                 "it does not end where its description says");
  else if (tail->described_end > 0)
    g_set_error (error, STREAM_ERROR, STREAM_ERROR_TRUNCATED,
                 "it ends in the middle of the description");
  else
    g_set_error (error, STREAM_ERROR, STREAM_ERROR_TRUNCATED,
                 "it ends in the middle of device state, in or after '%s'", tail->section);
  return FALSE;
}
