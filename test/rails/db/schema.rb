# frozen_string_literal: true

ActiveRecord::Schema.define(version: 1) do
  create_table :counters do |t|
    t.integer :value, null: false, default: 0
  end
  execute "INSERT INTO counters (id, value) VALUES (1, 0)"

  create_table :active_storage_blobs do |t|
    t.string :key, null: false, index: { unique: true }
    t.string :filename, null: false
    t.string :content_type
    t.text :metadata
    t.string :service_name, null: false
    t.bigint :byte_size, null: false
    t.string :checksum
    t.datetime :created_at, null: false
  end

  create_table :active_storage_attachments do |t|
    t.string :name, null: false
    t.references :record, null: false, polymorphic: true, index: false
    t.references :blob, null: false
    t.datetime :created_at, null: false
    t.index %i[record_type record_id name blob_id], name: "index_active_storage_attachments", unique: true
  end

  # Last, because who finds it takes the database for complete.
  create_table :notes do |t|
    t.string :body, null: false
    t.timestamps
  end
end
