/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ChaCha20-Poly1305 (RFC 8439) under a key per object. The nonce is the block's number and whether
 * it is the last: no block can stand in another's place, nor can an object end early or go on. The
 * salt is long enough to be random, so no key is used twice.
 */
#include "seal.h"

#include <vmckpt/store/store.h>
#include <vmckpt/util/bytes.h>

#include <sodium.h>
#include <string.h>

#define MAGIC "vmckseal"
#define VERSION 1
#define SALT_OFFSET 16
#define NONCE_BYTES crypto_aead_chacha20poly1305_ietf_NPUBBYTES

G_STATIC_ASSERT (crypto_aead_chacha20poly1305_ietf_KEYBYTES == SEAL_KEY_BYTES);
G_STATIC_ASSERT (crypto_aead_chacha20poly1305_ietf_ABYTES == SEAL_TAG_BYTES);
G_STATIC_ASSERT (NONCE_BYTES == 12);

guint64
seal_stored_size (guint64 content)
{
  guint64 blocks = content == 0 ? 1 : (content + SEAL_BLOCK_BYTES - 1) / SEAL_BLOCK_BYTES;
  return SEAL_HEADER_BYTES + content + blocks * SEAL_TAG_BYTES;
}

gboolean
seal_content_size (guint64 stored, guint64 *content)
{
  if (stored < SEAL_HEADER_BYTES + SEAL_TAG_BYTES)
    return FALSE;
  guint64 blocks =
      (stored - SEAL_HEADER_BYTES + SEAL_STORED_BLOCK_BYTES - 1) / SEAL_STORED_BLOCK_BYTES;
  *content = stored - SEAL_HEADER_BYTES - MIN (stored - SEAL_HEADER_BYTES, blocks * SEAL_TAG_BYTES);
  /* Sizes between "ends with a full block" and "another block with at least a byte". */
  return seal_stored_size (*content) == stored;
}

void
seal_header_new (SealHeader *header)
{
  g_autoptr (GByteArray) bytes = g_byte_array_sized_new (SEAL_HEADER_BYTES);

  g_byte_array_append (bytes, (const guint8 *)MAGIC, strlen (MAGIC));
  bytes_add_le16 (bytes, VERSION);
  bytes_add_le16 (bytes, VERSION);
  bytes_add_le32 (bytes, 0);
  memcpy (header->bytes, bytes->data, bytes->len);
  randombytes_buf (header->bytes + SALT_OFFSET, SEAL_HEADER_BYTES - SALT_OFFSET);
}

gboolean
seal_header_check (const SealHeader *header, GError **error)
{
  ByteReader reader = BYTE_READER (header->bytes, SEAL_HEADER_BYTES);

  if (memcmp (byte_reader_take (&reader, strlen (MAGIC)), MAGIC, strlen (MAGIC)) != 0) {
    g_set_error_literal (error, STORE_ERROR, STORE_ERROR_DAMAGED, "it is not a sealed object");
    return FALSE;
  }
  guint16 version = byte_reader_le16 (&reader);
  guint16 compatible = byte_reader_le16 (&reader);
  if (compatible <= VERSION)
    return TRUE;
  g_set_error (
      error, STORE_ERROR, STORE_ERROR_VERSION,
      "it is sealed with version %u, which needs a program that knows version %u; this one "
      "knows %d",
      version, compatible, VERSION);
  return FALSE;
}

void
object_key_derive (const SealKey *key, const SealHeader *header, ObjectKey *object_key)
{
  /* Over all of the header, so that no byte of it can change. */
  crypto_generichash (object_key->bytes, sizeof object_key->bytes, header->bytes,
                      sizeof header->bytes, key->bytes, sizeof key->bytes);
}

void
object_key_clear (ObjectKey *object_key)
{
  sodium_memzero (object_key, sizeof *object_key);
}

static void
make_nonce (guint64 number, gboolean last, guint8 *nonce)
{
  guint64 le = GUINT64_TO_LE (number);

  memset (nonce, 0, NONCE_BYTES);
  memcpy (nonce, &le, sizeof le);
  nonce[8] = last ? 1 : 0;
}

/* What the last block authenticates besides its content: the length (8 bytes) and the name. NULL
 * for any other block, which its key and number place already. */
static GByteArray *
end_to_bytes (const SealEnd *end)
{
  if (end == NULL)
    return NULL;
  GByteArray *bytes = g_byte_array_new();
  bytes_add_le64 (bytes, end->size);
  g_byte_array_append (bytes, (const guint8 *)end->name, strlen (end->name));
  return bytes;
}

void
seal_block (const ObjectKey *key, guint64 number, const guint8 *content, gsize len,
            const SealEnd *end, guint8 *out)
{
  g_autoptr (GByteArray) more = end_to_bytes (end);
  guint8 nonce[NONCE_BYTES];

  make_nonce (number, end != NULL, nonce);
  crypto_aead_chacha20poly1305_ietf_encrypt (out, NULL, content, len,
                                             more != NULL ? more->data : NULL,
                                             more != NULL ? more->len : 0, NULL, nonce, key->bytes);
}

gboolean
seal_block_open (const ObjectKey *key, guint64 number, const guint8 *stored, gsize len,
                 const SealEnd *end, guint8 *out)
{
  g_autoptr (GByteArray) more = end_to_bytes (end);
  guint8 nonce[NONCE_BYTES];

  make_nonce (number, end != NULL, nonce);
  return len >= SEAL_TAG_BYTES &&
         crypto_aead_chacha20poly1305_ietf_decrypt (
             out, NULL, NULL, stored, len, more != NULL ? more->data : NULL,
             more != NULL ? more->len : 0, nonce, key->bytes) == 0;
}
