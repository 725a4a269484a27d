"""The factory's stable maps, all in one place so that their memory ids and sizes can be read at a glance.

Sizes include Candid framing (a blob or text costs up to 11 bytes on top) and are part of the stored format: they
never change once a release is out. What the keys and values hold is drawn in the module that owns each map.
"""

from kybra import StableBTreeMap, blob, nat64, text

settings_map = StableBTreeMap[text, blob](memory_id=0, max_key_size=48, max_value_size=1024)
children_map = StableBTreeMap[blob, blob](memory_id=1, max_key_size=48, max_value_size=128)
zones_map = StableBTreeMap[blob, blob](memory_id=2, max_key_size=96, max_value_size=24)
releases_map = StableBTreeMap[blob, blob](memory_id=3, max_key_size=48, max_value_size=2048)
release_pieces_map = StableBTreeMap[blob, blob](memory_id=4, max_key_size=56, max_value_size=65_552)
custody_map = StableBTreeMap[blob, blob](memory_id=5, max_key_size=48, max_value_size=2200)
lists_map = StableBTreeMap[blob, blob](memory_id=6, max_key_size=96, max_value_size=48)
audit_map = StableBTreeMap[nat64, blob](memory_id=7, max_key_size=16, max_value_size=700)
deposits_map = StableBTreeMap[nat64, blob](memory_id=12, max_key_size=16, max_value_size=128)
paid_map = StableBTreeMap[blob, blob](memory_id=13, max_key_size=48, max_value_size=32)
fuel_map = StableBTreeMap[blob, blob](memory_id=14, max_key_size=48, max_value_size=160)
samples_map = StableBTreeMap[blob, blob](memory_id=15, max_key_size=48, max_value_size=1100)
fleet_map = StableBTreeMap[blob, blob](memory_id=16, max_key_size=16, max_value_size=2200)
alerts_map = StableBTreeMap[nat64, blob](memory_id=17, max_key_size=16, max_value_size=320)
open_alerts_map = StableBTreeMap[blob, blob](memory_id=18, max_key_size=48, max_value_size=32)
creations_map = StableBTreeMap[nat64, blob](memory_id=11, max_key_size=16, max_value_size=1400)
proofs_map = StableBTreeMap[blob, blob](memory_id=9, max_key_size=56, max_value_size=56)
ended_map = StableBTreeMap[blob, blob](memory_id=23, max_key_size=48, max_value_size=2200)
allowed_map = StableBTreeMap[blob, blob](memory_id=10, max_key_size=48, max_value_size=24)
owner_acts_map = StableBTreeMap[nat64, blob](memory_id=22, max_key_size=16, max_value_size=700)
changes_map = StableBTreeMap[blob, blob](memory_id=20, max_key_size=48, max_value_size=800)
consents_map = StableBTreeMap[blob, blob](memory_id=21, max_key_size=48, max_value_size=400)
