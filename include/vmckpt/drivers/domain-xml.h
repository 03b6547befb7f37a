/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The description of a libvirt domain, as a tree: from libvirt, from a checkpoint or from a file
 * that somebody was given, so nothing in it is believed. No network, no document type, no
 * entities, bounded in size and depth. Element and attribute names are libvirt's:
 * https://libvirt.org/formatdomain.html.
 */
#pragma once

#include <vmckpt/drivers/guest-spec.h>

#include <libxml/tree.h>

#define DOMAIN_XML_MAX (4u << 20) /* bytes; what libvirt's own RPC carries at most */

G_DEFINE_AUTOPTR_CLEANUP_FUNC (xmlDoc, xmlFreeDoc)

/**
 * domain_xml_parse:
 * @xml: UTF-8, @len bytes, need not end with a NUL
 *
 * Returns: (transfer full): NULL with DRIVER_ERROR_INVALID: too long, no XML, no <domain>, or with
 * a document type.
 */
xmlDoc *domain_xml_parse (const char *xml, gsize len, GError **error);

/* The document as text again, newly allocated; without an XML declaration, as libvirt's own is. */
char *domain_xml_to_text (xmlDoc *doc);

/* The @path below @node: names of elements, each the first one of that name, with "/" between, or
 * "" for @node. Borrowed; NULL: none. domain_xml_root() is <domain>. */
xmlNode *domain_xml_find (xmlNode *node, const char *path);
xmlNode *domain_xml_root (xmlDoc *doc);

/* The next sibling of @node with the same name, or NULL. */
xmlNode *domain_xml_next (xmlNode *node);

/* The text of the element at @path, without blanks around it, or the attribute @name of it; newly
 * allocated; NULL: there is none. */
char *domain_xml_text (xmlNode *node, const char *path);
char *domain_xml_attribute (xmlNode *node, const char *path, const char *name);

/* The element at @path itself, as XML; newly allocated; NULL: there is none. */
char *domain_xml_element_text (xmlNode *node, const char *path);

/* TRUE if the attribute is there and is @value. */
gboolean domain_xml_attribute_is (xmlNode *node, const char *path, const char *name,
                                  const char *value);

/* The element's text is @text from now on (nothing in it is markup). */
void domain_xml_set_text (xmlNode *node, const char *text);
