/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli-format.h"
#include "table.h"

#include <vmckpt/util/fd.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Compares a newly allocated text and frees it. */
static void
expect (char *text, const char *wanted)
{
  g_assert_cmpstr (text, ==, wanted);
  g_free (text);
}

static void
test_sizes (void)
{
  expect (format_size (0), "0 B");
  expect (format_size (1023), "1023 B");
  expect (format_size (1024), "1.0 KiB");
  expect (format_size (1536), "1.5 KiB");
  expect (format_size (1024.0 * 1024 - 1), "1.0 MiB");
  expect (format_size (2.5 * (1ull << 30)), "2.5 GiB");
  expect (format_size (1e30), "888178419700125.2 PiB");
}

static void
test_durations (void)
{
  expect (format_ms (2.13), "2.1 ms");
  expect (format_ms (250), "250 ms");
  expect (format_ms (1300), "1.3 s");
  expect (format_ms (125000), "2:05");
  expect (format_clock (0.2), "0:01");
  expect (format_clock (3725), "1:02:05");
  expect (format_clock (1e300), "99:59:59");
  expect (format_clock (-5), "0:00");
}

static void
test_times (void)
{
  expect (format_time (0), "-");
  g_autofree char *text = format_time (1700000000ull * 1000000);
  g_assert_true (g_str_has_prefix (text, "2023-11-1"));
}

static void
test_ids_are_short (void)
{
  expect (format_id ("0123456789abcdef"), "0123456789ab");
  expect (format_id ("0123"), "0123");
  expect (format_id (NULL), "-");
}

/* Foreign text cannot steer the terminal. */
static void
test_control_characters (void)
{
  expect (format_clean ("a\033[2Jb\nc\302\233d"), "a?[2Jb?c?d");
  expect (format_clean_lines ("a\nb\rc"), "a\nb?c");
  expect (format_clean ("Gr\303\274n"), "Gr\303\274n");
  expect (format_clean ("\377"), "\357\277\275");
}

static JsonObject *
parse (const char *text)
{
  g_autoptr (GError) error = NULL;
  JsonObject *object = json_parse_bounded (text, strlen (text), 1024, 8, &error);

  g_assert_no_error (error);
  return object;
}

static void
test_members (void)
{
  g_autoptr (JsonObject) object =
      parse ("{\"int\":2048,\"real\":1.5,\"text\":\"x\\ty\",\"none\":null,\"big\":1e999,"
             "\"list\":[\"a\",\"b\",3],\"empty\":[],\"ids\":[\"0123456789abcdef\",\"cd\"]}");
  double value;

  g_assert_true (json_get_number (object, "int", &value) && value == 2048);
  g_assert_true (json_get_number (object, "real", &value) && value == 1.5);
  g_assert_false (json_get_number (object, "text", &value));
  g_assert_false (json_get_number (object, "none", &value));
  g_assert_false (json_get_number (object, "big", &value));
  expect (format_size_member (object, "int"), "2.0 KiB");
  expect (format_ms_member (object, "real"), "1.5 ms");
  expect (format_count_member (object, "int"), "2048");
  expect (format_text_member (object, "text"), "x?y");
  expect (format_text_member (object, "none"), "-");
  expect (format_size_member (object, "missing"), "-");
  expect (format_strings_member (object, "list"), "a, b, ?");
  expect (format_strings_member (object, "empty"), "-");
  expect (format_ids_member (object, "ids"), "0123456789ab, cd");
  expect (format_strings_member (object, "int"), "-");
}

static void
test_table (void)
{
  g_autoptr (Table) table = table_new ("NAME", ">SIZE", "NOTE", NULL);
  g_auto (AutoFd) fd = memfd_create ("table", MFD_CLOEXEC);
  g_auto (Output) output = { .fd = fd };
  char text[256] = "";

  table_take (table, g_strdup ("gr\303\274n"));
  table_take (table, g_strdup ("1"));
  table_take (table, g_strdup ("a b"));
  table_take (table, g_strdup ("x"));
  table_take (table, g_strdup ("12345"));
  table_take (table, g_strdup (""));
  table_write (table, &output);
  g_assert_cmpint (pread (fd, text, sizeof text - 1, 0), >, 0);
  g_assert_cmpstr (text, ==,
                   "NAME   SIZE  NOTE\n"
                   "gr\303\274n      1  a b\n"
                   "x     12345  \n");
}

/* A reader that has gone is no error; a full disk is. */
static void
test_output_faults (void)
{
  int ends[2];
  g_auto (Output) gone = { 0 };
  g_auto (Output) full = { 0 };

  g_assert_cmpint (pipe (ends), ==, 0);
  close (ends[0]);
  gone.fd = ends[1];
  g_assert_false (output_write (&gone, "x", 1));
  g_assert_true (gone.closed);
  g_assert_no_error (gone.fault);
  close (ends[1]);

  full.fd = g_open ("/dev/full", O_WRONLY | O_CLOEXEC);
  g_assert_false (output_write (&full, "x", 1));
  g_assert_error (full.fault, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  close (full.fd);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  signal (SIGPIPE, SIG_IGN);
  g_test_add_func ("/cli-format/sizes", test_sizes);
  g_test_add_func ("/cli-format/durations", test_durations);
  g_test_add_func ("/cli-format/times", test_times);
  g_test_add_func ("/cli-format/ids-are-short", test_ids_are_short);
  g_test_add_func ("/cli-format/control-characters", test_control_characters);
  g_test_add_func ("/cli-format/members", test_members);
  g_test_add_func ("/cli-format/table", test_table);
  g_test_add_func ("/cli-format/output-faults", test_output_faults);
  return g_test_run();
}
