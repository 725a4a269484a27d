"""The zone canister's stable maps, all in one place so that their memory ids and sizes can be read at a glance.

Sizes include Candid framing (a blob or text costs up to 11 bytes on top) and are part of the stored format: they
never change once a release is out. What the keys and values hold is drawn in the module that owns each map.
"""

from kybra import StableBTreeMap, blob, nat32, text

settings_map = StableBTreeMap[text, blob](memory_id=0, max_key_size=48, max_value_size=320)
first_index_map = StableBTreeMap[nat32, blob](memory_id=1, max_key_size=11, max_value_size=152)
first_pages_map = StableBTreeMap[nat32, blob](memory_id=2, max_key_size=11, max_value_size=4112)
first_lookup_map = StableBTreeMap[blob, blob](memory_id=3, max_key_size=96, max_value_size=24)
first_postings_map = StableBTreeMap[blob, blob](memory_id=4, max_key_size=64, max_value_size=528)
members_map = StableBTreeMap[blob, blob](memory_id=5, max_key_size=48, max_value_size=128)
message_states_map = StableBTreeMap[nat32, blob](memory_id=6, max_key_size=11, max_value_size=24576)
message_pages_map = StableBTreeMap[nat32, blob](memory_id=7, max_key_size=11, max_value_size=6160)
message_directory_map = StableBTreeMap[nat32, blob](memory_id=8, max_key_size=11, max_value_size=1040)
message_hints_map = StableBTreeMap[nat32, blob](memory_id=9, max_key_size=11, max_value_size=8208)
member_quotas_map = StableBTreeMap[blob, blob](memory_id=10, max_key_size=48, max_value_size=1024)
