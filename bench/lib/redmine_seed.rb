# frozen_string_literal: true

# Redmine's database, as DATABASE_URL says where: its tables, what a new Redmine has, 20 projects with 400 issues.

require "/usr/share/redmine/config/environment"

ActiveRecord::Base.logger = nil
ActiveRecord::Migration.verbose = false
# Rails before 7.2 has it at the connection.
migrations = [ActiveRecord::Base.connection_pool, ActiveRecord::Base.connection]
             .find { |one| one.respond_to?(:migration_context) }
Dir.chdir(Rails.root) { migrations.migration_context.migrate }
[User, Issue, Project, Tracker, IssueStatus, Role].each(&:reset_column_information)
Redmine::DefaultData::Loader.load("en") if Redmine::DefaultData::Loader.no_data?

author = User.find_by!(admin: true)
random = Random.new(20)
projects = Array.new(20) do |number|
  Project.create!(name: "Project #{number}", identifier: "project-#{number}", is_public: true, trackers: Tracker.all,
                  description: "What project #{number} is about. " * 5,
                  enabled_module_names: %w[issue_tracking time_tracking news wiki])
end
400.times do |number|
  Issue.create!(project: projects.sample(random:), tracker: Tracker.all.to_a.sample(random:), author:,
                status: IssueStatus.where(is_closed: false).to_a.sample(random:),
                priority: IssuePriority.all.to_a.sample(random:), subject: "Issue #{number} of <some> & others",
                description: "As it was seen by somebody. " * 10)
end

# SQLite's last connection puts everything into the one file.
ActiveRecord::Base.connection_handler.clear_all_connections!
